CREATE DATABASE exacto OWNER litellm;
